"""Inference: the inference net of a training net, and predictions for images and arrays."""
