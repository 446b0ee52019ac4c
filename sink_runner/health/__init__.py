"""How the runner is: whether it lives, whether it is ready, and its figures, over HTTP."""
