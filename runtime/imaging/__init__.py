"""What an image is made of and what it is worth: pure logic over frames and arrays, without headers or sockets."""
