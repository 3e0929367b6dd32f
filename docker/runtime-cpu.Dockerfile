# The live server on a CPU: docker build -f docker/runtime-cpu.Dockerfile -t usert .
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir '/src[cpu]' && rm -rf /src && useradd --create-home usert
USER usert
ENTRYPOINT ["usert"]
CMD ["demo", "--out", "/tmp/usert-demo.png"]
