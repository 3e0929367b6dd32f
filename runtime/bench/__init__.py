"""`usert bench`: engines timed side by side, in processes of their own or over sockets."""
