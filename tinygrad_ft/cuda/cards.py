"""What a multiprocessor holds, by compute capability, and what named cards can do: figures of their maker.

Sources: limits are those of NVIDIA's headers `cuda/__device/arch_traits.h` (in CCCL) and `cuda_occupancy.h` (in the
CUDA runtime), both 13.5, and of the CUDA programming guide, table "Technical Specifications per Compute Capability".
Each card names the paper that its figures are in.
"""

from __future__ import annotations

from typing import NamedTuple

Capability = tuple[int, int]

WARP = 32
THREADS_IN_A_BLOCK = 1024
LONGEST_BLOCK = (1024, 1024, 64)
LARGEST_GRID = (2**31 - 1, 65535, 65535)
REGISTERS = 65536  # of 32 bits, in a multiprocessor, and a block may have them all
PARTS = 4  # of a multiprocessor, with a quarter of the registers each
REGISTER_UNIT = 256  # that a warp is given at a time
STATIC_SHARED = 48 * 1024  # bytes of a block whose size the kernel states; beyond it, only dynamic shared memory


class Limits(NamedTuple):
    """What one multiprocessor holds at once. Shared memory in bytes; `reserved` is what the system takes of a block.

    `lanes` is how many float32 multiply-adds it does in a clock: same guide, table "Throughput of Native Arithmetic
    Instructions".
    """

    lanes: int
    threads: int
    blocks: int
    shared: int
    reserved: int
    shared_unit: int

    @property
    def shared_of_a_block(self) -> int:
        """The most that one block may have, static and dynamic together."""
        return self.shared - self.reserved


KB = 1024
LIMITS: dict[Capability, Limits] = {
    (7, 5): Limits(lanes=64, threads=1024, blocks=16, shared=64 * KB, reserved=0, shared_unit=256),
    (8, 0): Limits(lanes=64, threads=2048, blocks=32, shared=164 * KB, reserved=KB, shared_unit=128),
    (8, 6): Limits(lanes=128, threads=1536, blocks=16, shared=100 * KB, reserved=KB, shared_unit=128),
    (8, 9): Limits(lanes=128, threads=1536, blocks=24, shared=100 * KB, reserved=KB, shared_unit=128),
    (9, 0): Limits(lanes=128, threads=2048, blocks=32, shared=228 * KB, reserved=KB, shared_unit=128),
    (10, 0): Limits(lanes=128, threads=2048, blocks=32, shared=228 * KB, reserved=KB, shared_unit=128),
    (12, 0): Limits(lanes=128, threads=1536, blocks=24, shared=100 * KB, reserved=KB, shared_unit=128),
}
CAPABILITIES = tuple(LIMITS)


class Card(NamedTuple):
    """A card as sold: multiprocessors, boost clock, peak float32 operations and bytes a second, and who says so."""

    name: str
    capability: Capability
    driver_name: str  # what the driver calls it
    multiprocessors: int
    clock: float  # Hz
    flops: float  # float32, without tensor cores; a multiply-add is two
    bandwidth: float  # bytes a second
    source: str

    @property
    def lanes(self) -> int:
        """Float32 multiply-adds a clock, of one multiprocessor."""
        return LIMITS[self.capability].lanes

    @property
    def balance(self) -> float:
        """Operations for each byte at which both roofs are reached: below it memory binds, above it arithmetic."""
        return self.flops / self.bandwidth


CARDS = {
    card.name: card
    for card in (
        Card(
            "t4", (7, 5), "Tesla T4", 40, 1.590e9, 8.1e12, 320e9,
            "NVIDIA T4 Tensor Core GPU, product brief PB-09256-001 and datasheet",
        ),
        Card(
            "a100", (8, 0), "NVIDIA A100-SXM4-40GB", 108, 1.410e9, 19.5e12, 1555e9,
            "NVIDIA A100 Tensor Core GPU Architecture, 2020, comparison of data center GPUs (SXM, 40 GB)",
        ),
        Card(
            "rtx3090", (8, 6), "NVIDIA GeForce RTX 3090", 82, 1.695e9, 35.6e12, 936e9,
            "NVIDIA Ampere GA102 GPU Architecture, 2021, appendix on GeForce RTX 3090",
        ),
        Card(
            "rtx4090", (8, 9), "NVIDIA GeForce RTX 4090", 128, 2.520e9, 82.6e12, 1008e9,
            "NVIDIA Ada GPU Architecture, 2022, appendix A on GeForce RTX 4090",
        ),
        Card(
            "h100", (9, 0), "NVIDIA H100 80GB HBM3", 132, 1.980e9, 66.9e12, 3352e9,
            "NVIDIA H100 Tensor Core GPU Architecture, 2022, comparison of data center GPUs (SXM5)",
        ),
        Card(
            "rtx5090", (12, 0), "NVIDIA GeForce RTX 5090", 170, 2.407e9, 104.8e12, 1792e9,
            "NVIDIA RTX Blackwell GPU Architecture, 2025, appendix A on GeForce RTX 5090",
        ),
    )
}  # fmt: skip
DEFAULT_CARD = "rtx4090"


def card_named(name: str) -> Card:
    """The card of that name.

    Raises:
        ValueError: if it is not in the table; the message lists what is.
    """
    try:
        return CARDS[name.lower().replace(" ", "").replace("-", "")]
    except KeyError:
        raise ValueError(f"no card {name!r} in the table: it has {', '.join(CARDS)}") from None


def nearest(capability: Capability) -> Capability:
    """The newest capability of the table whose code a GPU of this one runs.

    Raises:
        ValueError: if it is older than all of them.
    """
    known = [one for one in CAPABILITIES if one <= capability]
    if not known:
        raise ValueError(f"compute capability {capability[0]}.{capability[1]} is too old: 7.5 or newer is needed")
    return known[-1]


class Occupancy(NamedTuple):
    """How full a multiprocessor can be: blocks at once, the share of its warps they are, and what allows no more."""

    blocks: int
    share: float
    bound: str


def occupancy(capability: Capability, registers: int, shared: int, threads: int) -> Occupancy:
    """The occupancy of blocks of so many threads, with registers a thread and bytes of shared memory a block.

    Source: the arithmetic of `cuda_occupancy.h`, with which it was compared over a grid of arguments.
    """
    limits = LIMITS[capability]
    warps = -(-threads // WARP)
    of_a_warp = -(-registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
    warps_by_registers = REGISTERS // PARTS // max(of_a_warp, 1) * PARTS
    if of_a_warp * -(-warps // PARTS) * PARTS > REGISTERS:  # which the hardware refuses to start
        warps_by_registers = 0
    of_a_block = -(-(shared + limits.reserved) // limits.shared_unit) * limits.shared_unit
    by = {
        "threads": limits.threads // WARP // warps,
        "registers": warps_by_registers // warps,
        "shared memory": limits.shared // of_a_block if of_a_block else limits.threads,
        "blocks": limits.blocks,
    }
    bound = min(by, key=by.__getitem__)
    return Occupancy(by[bound], by[bound] * warps * WARP / limits.threads, bound)
