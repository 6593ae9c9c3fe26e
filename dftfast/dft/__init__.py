"""Distribution fine-tuning, in the order in which a phase goes.

`context` holds what a phase works with, and `stored_rollouts` samples for it; `gradients` reads
what the policy can follow of a credit, and `natural` makes an adapter of it; `validation` measures
that, by `collapse` too, and `loop` goes on from phase to phase and keeps the best.
"""
