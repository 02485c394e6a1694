/**
 * The OCI image and runtime formats as data: records that Jackson reads and writes, and the values
 * that the specifications define on them (digests, references, chain IDs, platform order). No input
 * or output happens here.
 */
@NullMarked
package io.berth.oci;

import org.jspecify.annotations.NullMarked;
