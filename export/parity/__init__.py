"""The parity gate: does a bundle compute what it was made from, and if not, which module does not?"""
