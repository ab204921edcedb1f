"""What the person who runs the database needs: looking after a server, as library functions."""
