"""What gives outputs away beside human texts: phrases, tokens, repetition, copying, style."""
