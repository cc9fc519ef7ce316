"""Fine-tuning: a pretrained model gets a new head, parts of it are frozen or adapted, and it learns a task."""

from tinygrad_ft.finetune.asking import Finetuned
from tinygrad_ft.finetune.freeze import ProgressiveUnfreezing, freeze, layerwise_groups, unfreeze
from tinygrad_ft.finetune.lora import LoRALinear, add_lora, load_lora, lora_state, merge_lora, save_lora
from tinygrad_ft.finetune.recipe import Recipe
from tinygrad_ft.finetune.report import changes, costs
from tinygrad_ft.finetune.run import Files, finetune

__all__ = [
    "Files",
    "Finetuned",
    "LoRALinear",
    "ProgressiveUnfreezing",
    "Recipe",
    "add_lora",
    "changes",
    "costs",
    "finetune",
    "freeze",
    "layerwise_groups",
    "load_lora",
    "lora_state",
    "merge_lora",
    "save_lora",
    "unfreeze",
]
