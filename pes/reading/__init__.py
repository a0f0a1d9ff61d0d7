"""Reading a PES without trusting it, and finding what is where in it."""
