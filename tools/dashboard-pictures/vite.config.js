// Builds the page into one directory, without development tooling.
import { defineConfig } from 'vite';

export default defineConfig({
  esbuild: { jsx: 'automatic' },
  build: { chunkSizeWarningLimit: 10000, reportCompressedSize: false },
});
