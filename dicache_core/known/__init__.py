"""The known methods of others, one file per method: its rule of *when*, of *how*, or both, as far as it has them.

Nothing in the engine needs this room: a method is registered by its lines in ``INDICATORS`` and ``PREDICTORS``, and
offered by its line in ``known/policies.py``.
"""
