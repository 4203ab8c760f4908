"""The methods, one file each: its rule of *when*, of *how*, or both, its published numbers, and its policies.

A file registers its classes with ``@indicator`` and ``@predictor`` and lists its policies in ``POLICIES``, each with
what people are told of it; its line in ``dicache_core.policies`` puts them on the menu.  The engine knows none of them.
"""
