// Reduces a picture to a palette of 128 colours, which makes these pages a third of the size.
//
//   node shrink.mjs FROM TO
import sharp from 'sharp';

const [from, to] = process.argv.slice(2);
await sharp(from).png({ palette: true, colours: 128, dither: 0, effort: 10, compressionLevel: 9 }).toFile(to);
