"""What `gateway` reaches outside: DGFiP's SFTP server."""
