package io.tidemill;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.delta.storage.S3SingleDriverLogStore;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * A Delta log on S3 whose commits are safe from any number of drivers.
 *
 * <p>A version of a table is one object in its log. The object is put with {@code If-None-Match: *}, so the store itself
 * lets just one writer create it, and every other one gets {@link FileAlreadyExistsException}, on which Delta looks for
 * conflicts and tries the next version. Reading and listing are those of {@link S3SingleDriverLogStore}, which rely on S3
 * being consistent.
 */
public class ConditionalPutLogStore extends S3SingleDriverLogStore {
  /** Option of Hadoop's createFile(): put the object only if there is none ({@code fs.s3a.create.conditional.enabled}). */
  static final String IF_ABSENT = "fs.option.create.conditional.overwrite";

  /** Metadata of the object that says which attempt made it, as it is written and as it is read back. */
  private static final String WRITER = "tidemill-writer";

  private static final String WRITER_OPTION = "fs.s3a.create.header." + WRITER;
  private static final String WRITER_ATTRIBUTE = "header." + WRITER;

  /** Called by Delta, by reflection. */
  public ConditionalPutLogStore(Configuration hadoopConf) {
    super(hadoopConf);
  }

  /**
   * Write one file of the log, whole or not at all.
   *
   * @throws FileAlreadyExistsException another writer's file is there, and {@code overwrite} is false.
   */
  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration hadoopConf)
      throws IOException {
    FileSystem fs = path.getFileSystem(hadoopConf);
    if (!overwrite && !fs.hasPathCapability(path, IF_ABSENT)) {
      throw new IOException(
          fs.getUri() + " has no conditional put, so commits are not safe: use s3a, and leave"
              + " fs.s3a.create.conditional.enabled on.");
    }
    String writer = UUID.randomUUID().toString();
    FSDataOutputStream stream = open(fs, path, overwrite, writer);
    try {
      while (actions.hasNext()) {
        stream.write((actions.next() + "\n").getBytes(UTF_8));
      }
    } catch (Throwable failure) {
      stream.abort(); // closing would put a file that lacks its end
      throw failure;
    }
    try {
      stream.close(); // the put
    } catch (IOException failure) {
      if (overwrite) {
        throw failure;
      }
      settle(fs, path, writer, failure);
    }
  }

  static FSDataOutputStream open(FileSystem fs, Path path, boolean overwrite, String writer)
      throws IOException {
    if (overwrite) {
      return fs.create(path, true);
    }
    FSDataOutputStreamBuilder<?, ?> builder = fs.createFile(path);
    return builder.overwrite(false).must(IF_ABSENT, true).must(WRITER_OPTION, writer).build();
  }

  /**
   * Find out what a put that failed has done.
   *
   * <p>Its answer may have been lost on the way, and then S3A's own second try fails on the object that the first one made.
   * Delta must not take its own commit for another writer's: it would commit the same rows again. An object in the log is
   * never replaced, so whoever made it has won for good.
   */
  static void settle(FileSystem fs, Path path, String writer, IOException failure) throws IOException {
    byte[] winner;
    try {
      winner = fs.getXAttrs(path).get(WRITER_ATTRIBUTE);
    } catch (IOException unknown) { // among them: no such object
      failure.addSuppressed(unknown);
      throw failure;
    }
    if (!Arrays.equals(writer.getBytes(UTF_8), winner)) {
      FileAlreadyExistsException lost = new FileAlreadyExistsException(path.toString());
      lost.initCause(failure);
      throw lost;
    }
  }
}
