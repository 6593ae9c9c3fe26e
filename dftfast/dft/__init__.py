"""Distribution fine-tuning, in the order in which a phase goes.

`context` holds what a phase works with, and `stored_rollouts` samples for it; `regression` trains
an adapter on the samples; `validation` measures it, by `collapse` too, and `loop` goes on from
phase to phase and keeps the best.
"""
