"""Trained nets at work: made from a training net, fed with images and arrays as they were prepared for training."""
