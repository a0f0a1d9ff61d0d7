"""What `simulator` touches: its folder, and the SFTP clients."""
