"""The result has the type of x, for other libraries too: type-checked if they are installed."""

from typing import assert_type

import jax
import jax.numpy as jnp
import torch

import relu_xp

singles = jnp.ones(3)
assert_type(relu_xp.relu(singles), jax.Array)
assert_type(relu_xp.relu_grad(singles), jax.Array)
assert_type(relu_xp.relu_vjp(singles, singles), jax.Array)
assert_type(relu_xp.leaky_relu(singles, 0.1), jax.Array)
assert_type(relu_xp.leaky_relu_grad(singles, 0.1), jax.Array)
assert_type(relu_xp.leaky_relu_vjp(singles, singles, 0.1), jax.Array)
assert_type(relu_xp.leaky_relu_vjp(singles, singles, singles), jax.Array)

tensor = torch.ones(3)
assert_type(relu_xp.relu(tensor, out=tensor), torch.Tensor)
assert_type(relu_xp.relu_grad(tensor), torch.Tensor)
assert_type(relu_xp.relu_vjp(tensor, tensor), torch.Tensor)
assert_type(relu_xp.leaky_relu(tensor, 0.1), torch.Tensor)
assert_type(relu_xp.leaky_relu_grad(tensor, 0.1), torch.Tensor)
assert_type(relu_xp.leaky_relu_vjp(tensor, tensor, 0.1), torch.Tensor)
assert_type(relu_xp.leaky_relu(tensor, torch.nn.Parameter(torch.ones(()))), torch.Tensor)
