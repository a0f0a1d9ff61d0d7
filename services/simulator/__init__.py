"""Plays DGFiP over a real SFTP server: takes what lands in /entree, answers in /sortie, counts what it received."""
