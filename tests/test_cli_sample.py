"""The command `sample` with models that others trained: folders, GGUF files, names; and what cannot write."""

import dataclasses
import json

import numpy as np
import pytest
from tiny_llama import TINY, letters, tiny, write_gguf
from tiny_models import write_model

from tinygrad_ft.cli import main
from tinygrad_ft.data.gguf_tokenizer import gguf_tokenizer
from tinygrad_ft.models import GPT2Config, GPT2LMHeadModel, save_pretrained

VOCABULARY = len(letters()["tokenizer.ggml.tokens"])
LLAMA = dataclasses.replace(TINY, vocab_size=VOCABULARY, eos_token_id=5)
GPT2 = GPT2Config(VOCABULARY, 16, 12, 2, 3, bos_token_id=None, eos_token_id=None)


@pytest.fixture
def call(capsys):
    def called(*argv):
        code = main(["sample", *map(str, argv)])
        return code, *capsys.readouterr()

    return called


@pytest.fixture
def gguf_file(tmp_path):
    return write_gguf(tmp_path / "tiny.gguf", tiny(LLAMA), tokenizer=letters(eos_token_id=5))


@pytest.fixture
def folder(tmp_path):
    """A function that writes a model's folder as Hugging Face has it."""

    def written(model, tokenizer=None):
        place = tmp_path / type(model).__name__
        save_pretrained(model, place)
        (tokenizer or gguf_tokenizer(letters())).tokenizer.save(str(place / "tokenizer.json"))
        return place

    return written


def text_of(result):
    code, out, err = result
    assert (code, err) == (0, ""), err
    assert out.endswith("\n")
    return out[:-1]


def assert_refused(result, *said):
    code, out, err = result
    assert (code, out) == (1, "")
    assert err.count("\n") == 1, err
    assert all(words in err for words in said), err
    assert "Traceback" not in err


def expected(model, prompt, tokens, seed=0, temperature=0.8, top_k=None, **options):
    tokenizer = gguf_tokenizer(letters())
    ids = tokenizer.lists([prompt])[0] if prompt else [1]
    rng = np.random.default_rng(seed)
    written = model.generate(ids, tokens, temperature=temperature, top_k=top_k, rng=rng, **options)
    return tokenizer.decode(written)


# --- what can write --------------------------------------------------------------------------------------------------


def test_a_gguf_file_writes_what_its_model_writes(call, gguf_file):
    model = tiny(LLAMA)
    for prompt, seed in (("abc", 0), ("a 12", 3), ("", 0)):
        out = text_of(call("--model", gguf_file, "--prompt", prompt, "--tokens", 12, "--seed", seed))
        assert out == expected(model, prompt, 12, seed, stop=[5]).encode("utf-8", "replace").decode()
        assert out.startswith(prompt)
    greedy = text_of(call("--model", gguf_file, "--prompt", "abc", "--tokens", 9, "--temperature", 0))
    assert greedy == expected(model, "abc", 9, temperature=0, stop=[5])
    few = text_of(call("--model", gguf_file, "--prompt", "abc", "--tokens", 9, "--top-k", 2, "--seed", 1))
    assert few == expected(model, "abc", 9, 1, top_k=2, stop=[5])


@pytest.mark.parametrize("made", [lambda: tiny(LLAMA), lambda: GPT2LMHeadModel(GPT2, rng=np.random.default_rng(0))])
def test_a_folder_of_hugging_face_writes_what_its_model_writes(call, folder, made):
    place = folder(made())
    out = text_of(call("--model", place, "--prompt", "cab", "--tokens", 10))
    stop = [5] if "Llama" in str(place) else []
    assert out == expected(made(), "cab", 10, stop=stop)


def test_a_finetuned_runs_folder_writes_with_the_model_in_it(call, folder, tmp_path):
    place = folder(tiny(LLAMA))
    run = tmp_path / "run"
    run.mkdir()
    place.rename(run / "model")
    (run / "config.json").write_text("{}")
    assert text_of(call("--model", run, "--prompt", "cab", "--tokens", 10)) == expected(
        tiny(LLAMA), "cab", 10, stop=[5]
    )


def test_a_hundred_tokens_are_written_unless_told_otherwise(call, folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        GPT2LMHeadModel, "generate", lambda self, ids, tokens, **options: asked.append((tokens, options)) or ids
    )
    place = folder(GPT2LMHeadModel(GPT2))
    assert text_of(call("--model", place, "--prompt", "ab")) == "ab"
    assert text_of(call("--model", place, "--prompt", "ab", "--tokens", 0)) == "ab"
    assert [tokens for tokens, _ in asked] == [100, 0]
    assert asked[0][1]["temperature"] == 0.8


@pytest.mark.parametrize(("of_config", "end", "wanted"), [(5, None, {5}), ((5, 6), 0, {0, 5, 6}), (None, 0, {0})])
def test_writing_ends_where_the_model_or_the_tokenizer_says(call, tmp_path, monkeypatch, of_config, end, wanted):
    asked = {}
    model = tiny(LLAMA)
    model.config = dataclasses.replace(LLAMA, eos_token_id=of_config)
    tokenizer = gguf_tokenizer(letters(eos_token_id=end))
    monkeypatch.setattr("tinygrad_ft.cli.sample._from_gguf", lambda path: (model, tokenizer))
    monkeypatch.setattr(type(model), "generate", lambda self, ids, tokens, **options: asked.update(options) or ids)
    (tmp_path / "x.gguf").touch()
    call("--model", tmp_path / "x.gguf", "--prompt", "a")
    assert asked["stop"] == wanted


def test_smollm2_knows_the_capital_of_france(call, smollm2):
    out = text_of(call("--model", "smollm2", "--prompt", "The capital of France is", "--tokens", 3, "--temperature", 0))
    assert out == "The capital of France is Paris.\n"


# --- what cannot -----------------------------------------------------------------------------------------------------


def test_a_model_that_writes_no_text_is_refused(call, tmp_path):
    place = write_model(tmp_path / "bert")
    assert_refused(
        call("--model", place), "type 'bert', which writes no text here: of pretrained models gpt2 and llama"
    )
    (place / "config.json").write_text(json.dumps({"model_type": ["llama"]}))
    assert_refused(call("--model", place), "type ['llama'], which writes no text")


def test_folders_and_files_that_hold_no_model_are_refused(call, folder, gguf_file, tmp_path):
    assert_refused(call("--model", tmp_path / "none"), "none is not a folder")
    assert_refused(call("--model", tmp_path / "none.gguf"), "none.gguf is not a folder")
    assert_refused(call("--model", "smolm2"), "smolm2 is not a folder")
    gguf_file.write_bytes(gguf_file.read_bytes()[:-1000])
    assert_refused(call("--model", gguf_file), "is not a whole GGUF file")
    place = folder(tiny(LLAMA))
    (place / "tokenizer.json").unlink()
    assert_refused(call("--model", place), "there is no", "tokenizer.json")
    (place / "model.safetensors").unlink()
    assert_refused(call("--model", place), "there is no", "model.safetensors")
    (place / "config.json").write_text("{")
    assert_refused(call("--model", place), "config.json is not JSON")


def test_a_gguf_file_without_a_tokenizer_and_with_one_too_large_is_refused(call, tmp_path):
    bare = write_gguf(tmp_path / "bare.gguf", tiny(LLAMA))
    assert_refused(call("--model", bare), "tokenizer is of model None")
    small = write_gguf(tmp_path / "small.gguf", tiny(), tokenizer=letters())
    assert_refused(call("--model", small, "--prompt", "a"), "ids up to", "29 words", "another model")


def test_a_text_without_a_beginning_needs_a_prompt(call, tmp_path):
    nameless = letters(bos_token_id=None, eos_token_id=None)
    path = write_gguf(tmp_path / "x.gguf", tiny(LLAMA), tokenizer=nameless)
    assert_refused(call("--model", path), "x.gguf names no token that begins a text: give the beginning by --prompt")
    assert text_of(call("--model", path, "--prompt", "abc", "--tokens", 0)) == "abc"


def test_a_model_that_has_gone_bad_is_told_in_one_line(call, folder):
    model = tiny(LLAMA)
    model.model.norm.weight.array[0] = np.nan
    assert_refused(call("--model", folder(model), "--prompt", "a"), "not finite")
