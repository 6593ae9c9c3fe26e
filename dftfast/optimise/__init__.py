"""How weights are trained, the same way by every stage.

`packing` lays texts end to end, `likelihood` is the loss, `optimiser` is AdamW, and `fit` is the
one loop around them; `checkpoint` keeps its state, `distributed` and `sharded_join` share its work
out over processes, and `log` writes down what happens.
"""
