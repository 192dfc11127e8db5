import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Does what each line of the input says: an operation, a topic, a group and properties, between tabs. Prints for each what came of it. */
public class ClientVerdicts {
    public static void main(String[] args) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        ExecutorService threads = Executors.newFixedThreadPool(16);
        List<Future<String>> verdicts = new ArrayList<>();
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] parts = line.split("\t");
            Properties properties = new Properties();
            for (int i = 3; i < parts.length; i++) {
                String[] pair = parts[i].split("=", 2);
                properties.put(pair[0], pair[1]);
            }
            verdicts.add(threads.submit(() -> attempt(parts[0], parts[1], parts[2], properties)));
        }
        for (Future<String> verdict : verdicts) {
            // Kafka's clients log on standard output too.
            System.out.println("verdict\t" + verdict.get().replace('\n', ' '));
        }
        System.exit(0);
    }

    private static String attempt(String operation, String topic, String group, Properties properties) {
        try {
            TopicPartition partition = new TopicPartition(topic, 0);
            switch (operation) {
                case "send" -> {
                    try (KafkaProducer<byte[], byte[]> producer = producer(properties)) {
                        producer.send(new ProducerRecord<>(topic, new byte[1])).get();
                    }
                }
                case "partitions" -> {
                    try (KafkaProducer<byte[], byte[]> producer = producer(properties)) {
                        producer.partitionsFor(topic);
                    }
                }
                case "transaction" -> {
                    return transaction(topic, group, properties);
                }
                case "subscribe", "assign", "commit", "committed", "end", "consumer-partitions" -> {
                    properties.put("group.id", group);
                    KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                    try {
                        consume(operation, consumer, topic, partition);
                    } finally {
                        consumer.close(CloseOptions.timeout(Duration.ofSeconds(1)));
                    }
                }
                default -> {
                    try (Admin admin = Admin.create(properties)) {
                        administer(operation, admin, topic, group, partition);
                    }
                }
            }
            return "ok";
        } catch (Exception failed) {
            return verdict(failed);
        }
    }

    private static KafkaProducer<byte[], byte[]> producer(Properties properties) {
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** The step that failed, why, and whether an abort mends it. */
    private static String transaction(String topic, String group, Properties properties) {
        String step = "init";
        try (KafkaProducer<byte[], byte[]> producer = producer(properties)) {
            try {
                producer.initTransactions();
                producer.beginTransaction();
                step = "send";
                producer.send(new ProducerRecord<>(topic, new byte[1])).get();
                step = "offsets";
                producer.sendOffsetsToTransaction(
                        Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1)), new ConsumerGroupMetadata(group));
                step = "commit";
                producer.commitTransaction();
                return "ok";
            } catch (Exception failed) {
                String verdict = step + ": " + verdict(failed);
                if (step.equals("init")) {
                    return verdict;
                }
                try {
                    producer.abortTransaction();
                    producer.beginTransaction();
                    return verdict + " (abortable)";
                } catch (Exception fatal) {
                    return verdict + " (fatal)";
                }
            }
        }
    }

    private static void consume(String operation, KafkaConsumer<byte[], byte[]> consumer, String topic, TopicPartition partition) {
        switch (operation) {
            case "subscribe" -> consumer.subscribe(List.of(topic));
            case "end" -> consumer.endOffsets(List.of(partition));
            case "consumer-partitions" -> consumer.partitionsFor(topic);
            case "committed" -> consumer.committed(Set.of(partition));
            default -> consumer.assign(List.of(partition));
        }
        if (operation.equals("commit")) {
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(1)));
        }
        if (operation.equals("subscribe") || operation.equals("assign")) {
            long end = System.currentTimeMillis() + 30_000;
            while (consumer.poll(Duration.ofMillis(500)).isEmpty()) {
                if (System.currentTimeMillis() > end) {
                    throw new TimeoutException("no record");
                }
            }
            if (operation.equals("subscribe")) {
                consumer.commitSync();
            }
        }
    }

    private static void administer(String operation, Admin admin, String topic, String group, TopicPartition partition) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        switch (operation) {
            case "list-topics" -> admin.listTopics().names().get();
            case "describe-topic" -> admin.describeTopics(List.of(topic)).allTopicNames().get();
            case "create-topic" -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            case "delete-topic" -> admin.deleteTopics(List.of(topic)).all().get();
            case "describe-config" -> admin.describeConfigs(List.of(resource)).all().get();
            case "delete-records" -> admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(0))).all().get();
            case "list-offsets" -> admin.listOffsets(Map.of(partition, OffsetSpec.latest())).all().get();
            case "group-offsets" -> admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            case "alter-group-offsets" -> admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(0))).all().get();
            case "describe-group" -> admin.describeClassicGroups(List.of(group)).all().get();
            case "delete-group" -> admin.deleteConsumerGroups(List.of(group)).all().get();
            default -> throw new IllegalArgumentException(operation);
        }
    }

    /** The exception of Kafka that is behind it all. */
    private static String verdict(Throwable failed) {
        Throwable found = failed;
        for (Throwable cause = failed; cause != null; cause = cause.getCause()) {
            if (cause instanceof ApiException) {
                found = cause;
                break;
            }
            if (cause instanceof KafkaException) {
                found = cause;
            }
        }
        return found.getClass().getSimpleName() + ": " + found.getMessage();
    }
}
