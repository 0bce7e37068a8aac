"""The proof that both texts of the maths compute the definition for every input: `python -m proof`."""
