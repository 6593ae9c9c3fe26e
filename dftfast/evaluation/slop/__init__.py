"""What gives a set of outputs away: phrases, tokens, repetition, copying, rhythm and style beside human texts."""
