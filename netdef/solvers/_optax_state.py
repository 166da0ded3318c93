"""The state of an optimizer of optax for several arrays, as a state of each and what belongs to none of them.

The weights are given to optax as a dict by name, so what a state has for each array is a dict with the same names:

    (exp_avg={"a": 1, "b": 2}, count=3)   is   {"a": (exp_avg=1, count=None), "b": (exp_avg=2, count=None)}
                                          and  (exp_avg=None, count=3)

Some of the arrays can therefore be updated without the others, and those that devices divide have histories of their
own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..lazy import jax, jnp


def parted(state: Any, names: Collection[str]) -> tuple[dict[str, Any], Any]:
    """The state of each array by name, and what they share."""
    of_arrays = lambda part: isinstance(part, dict) and part.keys() == set(names)
    part = lambda choose: jax.tree.map(lambda x: choose(x, of_arrays(x)), state, is_leaf=of_arrays)
    own = {name: part(lambda x, by_name, name=name: x[name] if by_name else None) for name in names}
    return own, part(lambda x, by_name: None if by_name else x)


def joined(own: Mapping[str, Any], shared: Any) -> Any:
    """The state of several arrays."""

    def one(whole: Any, *parts: Any) -> Any:
        if whole is not None:
            return whole
        return None if all(part is None for part in parts) else dict(zip(own, parts, strict=True))

    return jax.tree.map(one, shared, *own.values(), is_leaf=lambda x: x is None)


def as_numbers(tree: Any) -> Any:
    """Copies of arrays, with the numbers of random keys in their place, because a snapshot cannot contain keys."""
    return jax.tree.map(lambda a: jnp.array(jax.random.key_data(a) if _is_key(a) else a), tree)


def as_keys(tree: Any, like: Any) -> Any:
    """The arrays before `as_numbers`, of which `like` has the types."""
    return jax.tree.map(lambda a, of: jax.random.wrap_key_data(a) if _is_key(of) else a, tree, like)


def _is_key(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
