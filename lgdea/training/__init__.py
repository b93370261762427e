"""The room that trainings share: run folder, Trainer, checkpoints, logging, schedule."""
