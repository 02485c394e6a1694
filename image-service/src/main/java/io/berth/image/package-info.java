/**
 * Images: resolved and pulled from registries or read from archives, verified, unpacked into layers
 * in one pass, recorded last, found by any of their names. {@link io.berth.image.ImagePuller} and
 * {@link io.berth.image.ImageImporter} bring images in, {@link io.berth.image.ImageStore} alone
 * owns their records.
 */
@NullMarked
package io.berth.image;

import org.jspecify.annotations.NullMarked;
