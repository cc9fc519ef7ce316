"""Real data files by name: downloaded once, checked against a fixed hash, cached; or taken from your own folder."""

from __future__ import annotations

from pathlib import Path

ENV = "TINYGRAD_FT_DATA"  # a folder that takes the place of the cache, for machines without a network

_RAW = "https://raw.githubusercontent.com"
_SST2 = f"{_RAW}/clairett/pytorch-sentiment-classification/457ffd83de90a9d6d472d8ffc31bbffe40a8b236/data/SST2"
_CHINESE = f"{_RAW}/SophonPlus/ChineseNlpCorpus/a0b781d72158bde242c0626c9e354d2b328865ff/datasets"
_TATOEBA = f"{_RAW}/13luoyu/Transformer-machine-translation/aa43963320ccfacebd1d3542deae559bbca58d03"
_MULTI30K = f"{_RAW}/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw"
_PYTORCH = f"{_RAW}/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8"
_WIKITEXT2 = f"{_PYTORCH}/word_language_model/data/wikitext-2"
_KARPATHY = f"{_RAW}/karpathy"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"

# name in the cache: (sha256, URL). Commits are pinned; the MNIST mirror has none, there the hash alone pins.
FILES: dict[str, tuple[str, str]] = {
    "tinyshakespeare.txt": (
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        f"{_KARPATHY}/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
    ),
    "names.txt": (
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
        f"{_KARPATHY}/makemore/988aa59e4d8fefa526d06f3b453ad116258398d4/names.txt",
    ),
    "sst2_train.tsv": (
        "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
        f"{_SST2}/train.tsv",
    ),
    "sst2_dev.tsv": (
        "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
        f"{_SST2}/dev.tsv",
    ),
    "sst2_test.tsv": (
        "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
        f"{_SST2}/test.tsv",
    ),
    "waimai_10k.csv": (
        "b8b5c11c00b51578d35937fca56e03a126b45381f1ea4b22893237cb377a26fe",
        f"{_CHINESE}/waimai_10k/waimai_10k.csv",
    ),
    "ChnSentiCorp_htl_all.csv": (
        "1d414b9c65caf3a836abdb4efded621968502ad3338e1a9d885ae131c86083f0",
        f"{_CHINESE}/ChnSentiCorp_htl_all/ChnSentiCorp_htl_all.csv",
    ),
    "tatoeba_cmn-eng.txt": (
        "aa264a2447b26ab7c9d413f8321f9e2a779fd134b5118306b6e26a3499b3926e",
        f"{_TATOEBA}/cmn.txt",
    ),
    "multi30k_train.en.gz": (
        "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
        f"{_MULTI30K}/train.en.gz",
    ),
    "multi30k_train.de.gz": (
        "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
        f"{_MULTI30K}/train.de.gz",
    ),
    "multi30k_val.en.gz": (
        "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
        f"{_MULTI30K}/val.en.gz",
    ),
    "multi30k_val.de.gz": (
        "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
        f"{_MULTI30K}/val.de.gz",
    ),
    "multi30k_test_2016_flickr.en.gz": (
        "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
        f"{_MULTI30K}/test_2016_flickr.en.gz",
    ),
    "multi30k_test_2016_flickr.de.gz": (
        "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
        f"{_MULTI30K}/test_2016_flickr.de.gz",
    ),
    "wikitext2_valid.txt": (
        "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
        f"{_WIKITEXT2}/valid.txt",
    ),
    "wikitext2_test.txt": (
        "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
        f"{_WIKITEXT2}/test.txt",
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        f"{_MNIST}/t10k-images-idx3-ubyte.gz",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        f"{_MNIST}/t10k-labels-idx1-ubyte.gz",
    ),
}


def fetch(name: str) -> Path:
    """The path of a data file, from the folder named by TINYGRAD_FT_DATA, else the user's cache, else the web.

    A file whose hash is wrong is reported and left alone, never replaced: the folder is the user's.

    Raises:
        ValueError: the name is not in FILES, or the file here or at the URL has another hash.
        OSError: the file is not here and cannot be downloaded, or cannot be read or written.
    """
    if name not in FILES:
        raise ValueError(f"There is no data file {name!r}. Known ones: {', '.join(sorted(FILES))}.")
    import pooch
    from requests.exceptions import RequestException

    sha256, url = FILES[name]
    pooch.get_logger().setLevel("WARNING")  # else each download prints its URL and folder to stderr
    cache = pooch.create(
        path=pooch.os_cache("tinygrad_ft"),
        base_url="",
        env=ENV,
        registry={name: sha256},
        urls={name: url},
        allow_updates=False,
    )
    path = Path(cache.abspath, name)
    advice = f"Get {url} by other means, name it {name} and put it into the folder named by {ENV}."
    try:
        return Path(cache.fetch(name))
    except RequestException as error:
        raise OSError(f"Cannot download {name} ({type(error).__name__}). {advice}") from error
    except OSError as error:
        raise OSError(f"Cannot read or write {path} ({error.strerror or type(error).__name__}). {advice}") from error
    except ValueError as error:
        where, remedy = (path, f"Delete it or name another folder by {ENV}") if path.exists() else (url, "Try again")
        raise ValueError(
            f"{name} at {where} is not the file that was needed, of sha256 {sha256}. {remedy}, then fetch it anew."
        ) from error
