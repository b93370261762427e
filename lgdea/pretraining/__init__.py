"""Data module, samplers, LightningModule, callbacks, fit."""
