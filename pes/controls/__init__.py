"""What a PES must be before anybody is asked to sign it, beyond what schemas can say: one function a control."""
