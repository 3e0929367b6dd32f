"""Images and their assessment: pure logic over frames and arrays, without headers or sockets."""
