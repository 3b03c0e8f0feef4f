// Builds the page into one directory, without what only development needs.
import { defineConfig } from 'vite';

export default defineConfig({
  esbuild: { jsx: 'automatic' },
  build: { chunkSizeWarningLimit: 10000, reportCompressedSize: false },
});
