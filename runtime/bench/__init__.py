"""`usert bench`: times engines in interleaved runs, in processes of their own or over sockets."""
