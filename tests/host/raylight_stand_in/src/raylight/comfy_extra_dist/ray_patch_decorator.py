"""How a node's work on a model gets to the actors: ``ray_patch`` keeps the model it returns on each of them,
``ray_patch_with_return`` hands back what it returns on rank 0.
"""

import functools


def on_model(patch, node):
    """What is sent: a function of an actor's model."""

    def work(model, *args, **kwargs):
        return patch(node, model, *args, **kwargs)

    return work


def ray_patch(patch):
    @functools.wraps(patch)
    def node_function(node, ray_actors, *args, **kwargs):
        import ray

        workers, work = ray_actors["workers"], on_model(patch, node)
        ray.get([worker.model_function_runner.remote(work, *args, **kwargs) for worker in workers])
        return (ray_actors,)

    return node_function


def ray_patch_with_return(patch):
    @functools.wraps(patch)
    def node_function(node, ray_actors, *args, **kwargs):
        import ray

        first, work = ray_actors["workers"][0], on_model(patch, node)
        return ray.get(first.model_function_runner_get_values.remote(work, *args, **kwargs))

    return node_function
