# The services (api, worker, sync): one image, the command says which.   docker compose --profile services build
FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY sql ./sql
COPY seeds ./seeds
COPY db_utils ./db_utils
COPY barnameh ./barnameh
RUN pip install ".[services]" && rm -rf /app/*
# A user of its own, who owns nothing: the file system is read-only where docker-compose.yml runs it.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin barnameh
USER 10001
ENTRYPOINT ["barnameh"]
CMD ["--help"]
