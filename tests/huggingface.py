"""What the tests of pretrained models share: transformers' models beside ours, with the same weights."""

import sys
from contextlib import contextmanager

import numpy as np

import tinygrad_ft as tg
from tinygrad_ft import ops
from tinygrad_ft.models import BertConfig

TINY_BERT = BertConfig(
    vocab_size=31,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=9,
    labels=("bad", "so so", "good"),
)


def import_transformers():
    """The module, without its taking our folder `kernels`, on the path in a checkout, for Hugging Face's package."""
    own = sys.modules.get("kernels")
    sys.modules["kernels"] = None
    try:
        import transformers
        from transformers.utils.import_utils import is_kernels_available

        assert not is_kernels_available()  # it remembers the answer
    finally:
        if own is None:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = own
    return transformers


@contextmanager
def one_thread():
    """PyTorch on one thread: the tests' processes already have a core each."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield torch
    finally:
        torch.set_num_threads(before)


def theirs_from(folder, name="AutoModel", **options):
    """transformers' model of a folder, in evaluation mode, in float32; every weight must have been found there."""
    model, info = getattr(import_transformers(), name).from_pretrained(
        folder, local_files_only=True, output_loading_info=True, attn_implementation="eager", **options
    )
    assert not info["missing_keys"], info
    assert not info["mismatched_keys"], info
    return model.eval()


def as_torch(*arrays):
    import torch

    return tuple(torch.from_numpy(np.array(a)) for a in arrays)


def tensors(*arrays):
    return tuple(tg.tensor(np.asarray(a)) for a in arrays)


def relative(ours, theirs):
    """The largest difference, by the largest of their numbers."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def random_batch(rng, vocabulary, batch, n):
    """(ids, mask): texts of different lengths, none empty, padded at the end with 0."""
    lengths = rng.integers(1, n + 1, batch)
    lengths[0] = n
    mask = (np.arange(n) < lengths[:, None]).astype(np.int64)
    return rng.integers(1, vocabulary, (batch, n)) * mask, mask


def distances(ours, folder, rng):
    """The largest relative differences to transformers: of the answers, and of a parameter's gradient."""
    ids = rng.integers(0, ours.config.vocab_size, (3, 7))
    with one_thread() as torch:
        theirs = theirs_from(folder, type(ours).__name__).double()
        answer = theirs(*as_torch(ids))[0]
        mine = ours.to(np.float64)(*tensors(ids))
        g = rng.normal(size=answer.shape)
        (answer * torch.from_numpy(g)).sum().backward()
        ops.sum(mine * tg.tensor(g)).backward()
        grads = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
        answer = answer.detach().numpy()
    assert grads.keys() == dict(ours.named_parameters()).keys()
    apart = [abs(p.grad.array - grads[name]).max() / abs(grads[name]).max() for name, p in ours.named_parameters()]
    return np.abs(mine.array - answer).max() / np.abs(answer).max(), max(apart)
