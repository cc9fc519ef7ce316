"""Fine-tuning: a pretrained model gets a new head, parts of it are frozen or adapted, and it learns a task."""
