"""DiCache Tune without a model: the search, what is kept of it, and the runs that it serves."""
