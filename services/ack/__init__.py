"""Collects what DGFiP replies; consumes its SFTP reply directory and ReplyLinked, records replies and verdicts."""
