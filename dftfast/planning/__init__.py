"""What a run will take, from sizes alone: minutes, memory and traffic on cards that are not here.

`model_sizes` knows models, `chips` cards, `work` counts, `roofline` turns counts into seconds,
`rollout_steps` runs the scheduler without a model, `stages` adds up a run.
"""
