# The search page and the REST interface of a gallery; no torch. Build it from the project's root:
# docker build -f deploy/search.Dockerfile -t vehicle-reid-search:0.1.0 .
FROM python:3.12.11-slim-bookworm
COPY . /src
RUN pip install --no-cache-dir '/src[triton,milvus]' pillow==12.3.0 \
    && rm -rf /src \
    && useradd --uid 10001 --create-home search \
    && install -d -o search -g search /gallery
USER 10001
WORKDIR /home/search
EXPOSE 7860
ENTRYPOINT ["python", "-m", "retrieval.app"]
