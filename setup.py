"""Metadata and dependencies of avemo; requirements/ locks what was tested."""

import pathlib

import setuptools

ROOT = pathlib.Path(__file__).parent

REQUIREMENTS = [
  'absl-py>=2.1,<3',
  'array-record>=0.8,<0.9',
  'av>=14,<19',
  'clu>=0.0.12,<0.1',
  'einops>=0.8,<0.9',
  'flax>=0.12,<0.13',
  'grain>=0.2.14,<0.3',
  # tensorflow-datasets imports it without declaring it.
  'importlib_resources>=6,<8',
  'jax>=0.10,<0.12',
  'jinja2>=3.1,<4',
  'librosa>=0.11,<2',
  'matplotlib>=3.9,<4',
  'ml-collections>=1.0,<2',
  'numpy>=2.0,<3',
  # Version 5 dropped the bundled cascades, the default face detector.
  'opencv-python-headless>=4.11,<5',
  'optax>=0.2.5,<0.3',
  'orbax-checkpoint>=0.11.30,<0.13',
  'protobuf>=5,<8',
  'pyarrow>=18,<27',
  'scipy>=1.14,<2',
  'tensorflow-datasets>=4.9.9,<4.10',
  'tqdm>=4.66,<5',
]

EXTRAS = {
  'beam': ['apache-beam>=2.60,<3'],
  'tensorboard': ['tensorflow-cpu>=2.18,<3'],
  'convert': ['h5py>=3.11,<4', 'safetensors>=0.5,<1'],
  'cuda': ['jax[cuda13]>=0.10,<0.12'],
  'dev': [
    'hypothesis>=6.100,<7',
    'pytest>=8.3,<10',
    'pytest-cov>=6,<8',
    'pytest-timeout>=2.3,<3',
    'pytest-xdist>=3.6,<4',
    'ruff>=0.9,<1',
    'scikit-learn>=1.5,<2',
  ],
}

setuptools.setup(
  name='avemo',
  version='0.1.0',
  description=(
    "Emotion recognition from a speaker's face and voice, in JAX and Flax"
  ),
  long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  author='The avemo authors',
  license='Apache-2.0',
  python_requires='>=3.11,<3.13',
  packages=setuptools.find_packages(
    include=['avemo', 'avemo.*', 'datasets_tfds', 'datasets_tfds.*']
  ),
  package_data={
    'avemo': ['evaluate/*.jinja'],
    'datasets_tfds': ['**/*.md', '**/*.bib', '**/*.txt'],
  },
  install_requires=REQUIREMENTS,
  extras_require=EXTRAS,
  entry_points={'console_scripts': ['avemo = avemo.cli:start']},
  classifiers=[
    'Development Status :: 3 - Alpha',
    'Intended Audience :: Science/Research',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
)
