# Jobyard in a container: `docker build -t jobyard .`; see docs/containers-and-proxies.md.
# The first stage installs into /opt/jobyard, the second has only that and Python.
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/jobyard \
 && /opt/jobyard/bin/pip install --no-cache-dir ".[server,mongo]" \
 && /opt/jobyard/bin/python -m compileall -q /opt/jobyard/lib

FROM python:3.13-slim
COPY --from=build /opt/jobyard /opt/jobyard
RUN groupadd --gid 10001 jobyard \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin jobyard \
 && install -d -o jobyard -g jobyard -m 700 /data \
 && install -d /app
ENV PATH=/opt/jobyard/bin:$PATH HOST=0.0.0.0 DATA_DIR=/data PYTHONDONTWRITEBYTECODE=1
# The modules of TASKS are found in /app. Everything that Jobyard writes is in /data, so the root file system can be read-only.
WORKDIR /app
VOLUME /data
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
ENTRYPOINT ["jobyard"]
CMD ["start-all"]
