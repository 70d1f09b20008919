"""The frozen experiment (data, model, objective, train, sample, eval), knob groups and linked values."""
