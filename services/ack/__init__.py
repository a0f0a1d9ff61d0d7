"""Collects what DGFiP replies; consumes its SFTP reply directory, records ReplyReceived and the verdict it holds."""
