# The service and the trainings of colorgan; docs/elsewhere.md has the commands.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
# PyTorch's build: cpu, or that of a CUDA version, as cu130.
ARG TORCH=cpu
WORKDIR /source
RUN python -m venv /opt/colorgan
ENV PATH=/opt/colorgan/bin:$PATH
# pyproject.toml says which versions fit; this layer is kept while only the code changes.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir torch torchvision \
    --index-url "https://download.pytorch.org/whl/${TORCH}"
COPY . .
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[heif,film]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/colorgan /opt/colorgan
RUN useradd --uid 1000 --create-home colorgan \
    && install --directory --owner colorgan /data
ENV PATH=/opt/colorgan/bin:$PATH \
    COLORGAN_STORAGE=/data \
    PYTHONUNBUFFERED=1
USER 1000
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8000/healthz', timeout=9)"]
CMD ["python", "-m", "serve", "--local", "--host", "0.0.0.0"]
