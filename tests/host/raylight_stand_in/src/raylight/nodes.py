"""A node with raylight's socket type, so that graphs with it can be drawn and checked."""


class RayLoaderStandIn:
    RETURN_TYPES = ("RAY_ACTORS",)
    FUNCTION = "load"
    CATEGORY = "DiCache testbed"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {}}

    def load(self) -> tuple:
        raise RuntimeError("This stands in for raylight's loader: there are no actors behind it.")


NODE_CLASS_MAPPINGS = {"RayLoaderStandIn": RayLoaderStandIn}
